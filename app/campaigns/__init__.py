"""Campaigns: the closed loop of proposing, training and proposing again, within a budget."""
