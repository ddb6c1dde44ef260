"""What a platform asks for: findings, their merge, the lock, the configuration and the mirror map."""
