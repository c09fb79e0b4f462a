"""The channels through which CityPass talks to people."""
