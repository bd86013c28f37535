"""CNI variants: data, and the manifests rendered from it."""
