local testing = require "kennel.testing"

testing.test("the page is there", function()
  local res = testing.site():get("/")
  testing.equal(res.status, 200)
  testing.contains(res.text, "<h1>NAME</h1>")
end)

testing.test("a visitor is greeted", function()
  testing.equal(testing.site():get("/hello/Ann"):json(), { text = "Hello, Ann!" })
end)

testing.test("what one says, everybody hears", function()
  local site = testing.site()
  local ann, bob = site:connect("/chat"), site:connect("/chat")
  ann:send("hi")
  testing.equal(ann:messages(), { "hi" })
  testing.equal(bob:messages(), { "hi" })
end)
