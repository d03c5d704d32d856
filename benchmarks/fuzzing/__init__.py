"""Parts of the fuzzer of `prepare`: logs, damage, a slow reader that judges."""
