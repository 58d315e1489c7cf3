"""What writes, draws and takes pictures: generators of docs and dashboards, screenshots. Not shipped."""
