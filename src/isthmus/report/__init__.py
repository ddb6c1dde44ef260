"""What people and auditors read: release reports, SBOMs, coverage; and the same for machines."""
