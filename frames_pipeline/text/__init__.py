"""Text that is safe to show: without secrets, control characters or markup."""
