"""Command line: the entry point, LightningCLI, commands and scans."""
