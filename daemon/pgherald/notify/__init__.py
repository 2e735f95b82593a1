"""Tells the person: desktop notifications with receipts, and chat services if wanted."""
