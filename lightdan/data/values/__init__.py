"""Values in files of configurations: their summary, their form, and what is asked about them."""
