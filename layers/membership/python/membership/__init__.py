"""Stored-value cards of shops: recharge, spend, refund, cash back, coupons, invoices."""
