"""The suite on a cluster that somebody else built, which is afterwards as it was before."""
