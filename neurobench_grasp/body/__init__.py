"""The hand as an MjSpec with named sensors. The only code that knows MuJoCo."""
