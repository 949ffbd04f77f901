"""The lab's numbers: computed here, and published in the lab."""
