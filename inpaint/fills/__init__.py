"""What a fill is made of: holes from masks, windows and scales, detail, grain. No network is loaded here."""
