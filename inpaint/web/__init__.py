"""The web page: photos, masks, fills and jobs below; the service they make up; its routes, and the server."""
