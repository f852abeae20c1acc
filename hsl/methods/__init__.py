"""Methods: LightningModules that fill directions. One file a method."""
