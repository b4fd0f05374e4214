"""`data check`: what is wrong or odd with a data set."""
