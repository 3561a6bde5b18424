"""Share, fetch and remove what the commands have made."""
