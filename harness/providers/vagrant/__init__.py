"""Labs of virtual machines that Vagrant makes. Rendered here; see docs/vagrant.md for what is done with it."""
