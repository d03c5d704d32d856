"""What every benchmark needs: processes, repeats, machines, result files."""
