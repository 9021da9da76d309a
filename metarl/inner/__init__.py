"""L3: learners: what runs inside one lifetime."""
