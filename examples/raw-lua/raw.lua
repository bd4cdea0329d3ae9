-- The raw level, for ports of existing Mongrel2 handlers: every message as Mongrel2 sent it, and bytes
-- to any connection. What a handler of the old kind did with its own ZeroMQ sockets goes here.
local kennel = require "kennel"
local app = kennel.app()

app:raw(function(msg)
  if msg.path == "@*" then
    kennel.log.info("connection " .. msg.conn_id .. " is gone")
    return
  end
  local body = ("You are connection %d and asked %s %s.\n"):format(msg.conn_id, msg.headers.METHOD, msg.path)
  local answer = ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)
  kennel.deliver(msg.sender, { msg.conn_id }, answer)
  if msg.headers.connection == "close" or msg.headers.VERSION == "HTTP/1.0" then
    kennel.disconnect(msg.sender, { msg.conn_id })
  end
end)

return app
