"""The images that kubeadm uses, from a table in the package."""
