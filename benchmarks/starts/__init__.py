"""What the benchmark of the start runs: a backbone that tells when it is first asked, and a run without Ray."""
