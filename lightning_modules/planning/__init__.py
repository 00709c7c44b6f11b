"""What a run would take, measured on its model without weights: `python cli.py plan`."""
