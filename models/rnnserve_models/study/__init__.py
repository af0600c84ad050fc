"""The study: recurrent networks beside other architectures, at equal size, budget and seeds."""
