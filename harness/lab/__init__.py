"""The lab's numbers, as computed here and as published in the lab."""
