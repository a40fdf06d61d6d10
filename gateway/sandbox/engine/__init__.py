"""What happens to the simulated account: every act takes the world and changes it. No I/O, no clock."""
