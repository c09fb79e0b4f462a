"""WeChat official accounts: what they say and what they take."""
