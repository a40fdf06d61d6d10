-- once_refund.lua: refund what was charged under an Idempotency-Key, and free the key: its next call is charged.
--
-- KEYS[1] once  string  as in once.lua
-- KEYS[2] onces sorted set  as in once.lua
-- KEYS[3..]     as KEYS[1..] of settle.lua
-- ARGV[1] receipt of the charge
-- ARGV[2..]     as ARGV[1..] of settle.lua
--
-- Returns as settle.lua.
--
-- Law. If somebody repeated the call meanwhile (it was taken for lost), the charge pays for that: it
-- stays, and so does the key.
--
-- Cluster: all keys share the {customer} tag.   Cost: as settle.lua, one GET, one DEL and ZREM or SET.
local function settle(KEYS, ARGV)
-- include settle.lua
end

local own = redis.call('GET', KEYS[1]) or ''
local rest, repeats, receipt = string.match(own, '^%d+(|%d+|(%d+)|[^|]*|(.*))$')
if receipt == ARGV[1] then
  if repeats ~= '0' then
    redis.call('SET', KEYS[1], '0' .. rest, 'KEEPTTL')
    return {0, 0, 0}
  end
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], string.match(KEYS[1], '[^:]*$'))
end
return settle({unpack(KEYS, 3)}, {unpack(ARGV, 2)})
