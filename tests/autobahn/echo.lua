-- What the Autobahn test suite expects of a server: every message comes back as it was.
local kennel = require "kennel"
local app = kennel.app()

app:channel("/", { deflate = true, max_message = 32 * 1024 * 1024 }, function(conn)
  for msg in conn:messages() do
    if conn.binary then conn:send_binary(msg) else conn:send(msg) end
  end
end)

return app
