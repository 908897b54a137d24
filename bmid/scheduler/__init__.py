"""Time: what is done again and again, and what is due. Writes rows and operations, and never touches a node."""
