"""What a Kubespray checkout will download, found without running Ansible."""
