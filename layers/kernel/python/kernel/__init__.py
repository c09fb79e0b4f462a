"""What every system of the platform shares; knows no system."""
