"""Facebook Messenger: what its Send API takes."""
