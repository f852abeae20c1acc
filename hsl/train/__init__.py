"""The command ``hsl train``: LightningCLI over methods and data, and its run folders."""
