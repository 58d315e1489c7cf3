"""What tests share: real servers and programs, factories, auditors. No test stands here."""
