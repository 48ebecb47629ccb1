"""Programs for those who develop this project; users run none of them."""
