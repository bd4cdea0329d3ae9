local testing = require "kennel.testing"

testing.test("a file is counted, and those who watch are told", function()
  local site = testing.site("upload.lua")
  local news = site:connect("/progress/7")
  local res = site:put("/files/7", { query = { name = "a dog.png" }, body = string.rep("x", 3000) })
  testing.equal(res.text, "a_dog.png is here: 3000 bytes.\n")
  testing.equal(news:receive_json(), { received = 3000, total = 3000 })
end)

testing.test("nobody hears of other people's uploads", function()
  local site = testing.site("upload.lua")
  local news = site:connect("/progress/8")
  site:put("/files/7", { body = "x" })
  testing.equal(news:receive(), nil)
end)

testing.test("a name leads nowhere else", function()
  local site = testing.site("upload.lua")
  local res = site:put("/files/7", { query = { name = "../../etc/passwd" }, body = "x" })
  testing.equal(res.text, "_.._etc_passwd is here: 1 bytes.\n")
end)
