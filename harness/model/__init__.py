"""What a lab is made of, as validated and frozen data: nothing here touches the machine."""
