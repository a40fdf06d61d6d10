-- gate.lua: one EVALSHA of the gateway's own charge.lua per request, over a pooled connection.
--
-- load(file, socket): read "key command-in-hex" lines once, when nginx starts. The command is the very
-- bytes that the gateway would send for that key: liveness of the key's account, two rates, one quota,
-- all or nothing. So both do the same work in the cache, and nothing here is computed per request that
-- can be prepared: the strongest form of this design, as a cache of credentials in the worker would be.
-- check(): 401 unknown key, 429 refused, 503 no answer; else a field with what is left, and on.
local _M = {}
local commands, socket = {}, nil
local tonumber, byte, sub = tonumber, string.byte, string.sub

function _M.load(file, path)
  socket = path
  for line in io.lines(file) do
    local key, hex = line:match("^(%S+) (%x+)$")
    commands[key] = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  end
end

function _M.check()
  local command = commands[ngx.var.http_x_api_key or ""]
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
  local verdict, left
  for i = 1, tonumber(sub(head, 2)) do
    local line = cache:receive("*l")
    if not line then return ngx.exit(503) end
    if i == 1 then verdict = line elseif i == 9 then left = sub(line, 2) end -- 3 numbers per limit; the quota is last
  end
  cache:setkeepalive(60000, 512)
  if verdict ~= ":1" then return ngx.exit(429) end
  ngx.header["X-RateLimit-Remaining"] = left
end

return _M
