-- gate.lua: one EVALSHA of the gateway's own charge.lua per request, over a pooled connection.
--
-- load(file, socket): read "key room command-in-hex" lines once, when nginx starts. The command is the
-- very bytes that the gateway would send for that key: liveness of the key's account, two rates, one
-- quota, all or nothing; room is the quota's limit less the cost. So both do the same work in the cache,
-- and nothing here is computed per request that can be prepared: the strongest form of this design, as a
-- cache of credentials in the worker would be.
-- check(): 401 unknown key, 429 refused, 503 no answer; else a field with what is left, and on.
local _M = {}
local commands, rooms, socket = {}, {}, nil
local tonumber, byte, sub = tonumber, string.byte, string.sub
local QUOTA_AT = 5 -- the answer: verdict, now, then what was owed to each limit; the quota is the third

function _M.load(file, path)
  socket = path
  for line in io.lines(file) do
    local key, room, hex = line:match("^(%S+) (%d+) (%x+)$")
    rooms[key] = tonumber(room)
    commands[key] = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  end
end

function _M.check()
  local key = ngx.var.http_x_api_key or ""
  local command = commands[key]
  if not command then return ngx.exit(401) end
  local cache = ngx.socket.tcp()
  cache:settimeouts(1000, 1000, 1000)
  if not cache:connect(socket) then return ngx.exit(503) end
  if not cache:send(command) then return ngx.exit(503) end
  local head = cache:receive("*l")
  if not head or byte(head) ~= 42 then -- '*'
    ngx.log(ngx.ERR, "the script failed: ", head)
    return ngx.exit(503)
  end
  local verdict, used
  for i = 1, tonumber(sub(head, 2)) do
    local line = cache:receive("*l")
    if not line then return ngx.exit(503) end
    if i == 1 then verdict = line elseif i == QUOTA_AT then used = sub(line, 2) end
  end
  if verdict ~= ":1" then return ngx.exit(429) end
  cache:setkeepalive(60000, 512)
  ngx.header["X-RateLimit-Remaining"] = rooms[key] - used
end

return _M
