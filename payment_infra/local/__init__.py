"""The same stack on this machine: the embedded AWS as a subprocess, deployed to like any other."""
