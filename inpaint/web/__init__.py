"""The web page: pure rooms (photos, marks, fills, service) below, tabs above, `page` puts them together."""
