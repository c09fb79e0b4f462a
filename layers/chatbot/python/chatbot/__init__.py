"""Scenario chatbots on LINE, Messenger and WeChat."""
