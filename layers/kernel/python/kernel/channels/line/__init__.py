"""LINE: what its Messaging API takes."""
