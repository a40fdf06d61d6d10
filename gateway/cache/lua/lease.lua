-- lease.lua: charge as many equal requests at once as there is room for, up to a number. A worker lets them
-- through later, without asking, until the lease is over.
--
-- KEYS[1] usage    hash    as in charge.lua, and l: the leases that may still be ended
-- ARGV[1] version the caller decided on   ARGV[2] now_ms, 0 = the server's own clock
-- ARGV[3] name of this lease              ARGV[4] requests wanted, >= 1
-- ARGV[5] ttl_ms: the lease is over so long after now, at the latest
-- ARGV[6] the claims of one request, none of cost 0, packed as in charge.lua; then one field per claim
--
-- Returns {1, now_ms, granted, owed..., s} with one number per claim as after the charge, and as in charge.lua
--         {0, now_ms} nothing is leased now: too little is left, the account or a window is not as the caller
--                     says, or time is not what was stored. Nothing was written; charge.lua tells which, and why.
--
-- Laws. A quota grants a tenth of what is left, and only while a tenth of it is left: so the sum of all grants and
-- charges never exceeds it, and its end is counted exactly. A rate grants half of the room in its bucket.
-- A bucket drains from the moment of the charge, but the requests come later, up to ttl_ms. Until they have come
-- its debt must cover them, also if they come last of all. So before a grant the debt is raised to what the bucket
-- gains within ttl_ms: an empty one grants from burst - units * ttl_ms / window. Then the debt is never less
-- than that of a bucket which is charged when a request is let through: while that one holds anything, both drain
-- alike; while it is empty, what was raised drains first. So over any stretch of time a rate admits its burst and
-- what it gains, at most, with exact charges among the leased ones and with any number of leases.
-- l holds "name over_ms field=units ...;" of each lease with quotas, for lease_end.lua. A lease is forgotten when it
-- has been ended, or GRACE_MS after it is over: a worker that had no answer may end it until then. Of those that are
-- over for longer than SOON_MS, the latest MOST are kept, so that a busy customer's draws stay short.
--
-- Cluster: one key.   Cost: O(claims + leases of the customer).
local GRACE_MS, SOON_MS, MOST = 60000, 1000, 128
local call, find, sub, format, floor, read = redis.call, string.find, string.sub, string.format, math.floor, struct.unpack
local claims = #ARGV - 6

local stored = call('HMGET', KEYS[1], 'v', 't', 's', 'e', 'l', unpack(ARGV, 7))
local now = ARGV[2] + 0
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local refused = {0, now}
if (stored[2] or 0) + 0 > now or stored[1] ~= ARGV[1] then return refused end
local history, info = stored[4], redis.pcall('INFO', 'replication')
if not history then return refused end
if type(info) ~= 'string' then
  if history ~= '' then return refused end
elseif not find(info, 'master_replid:' .. history .. '\r', 1, true) then
  return refused
end

local granted, bases, needs, instants, is_quota, at = ARGV[4] + 0, {}, {}, {}, {}, 1
for i = 1, claims do
  local value, fits, units, need, room, since, before = stored[5 + i], nil, nil, nil, nil, nil, nil
  units, need, room, at = read('<ddd', ARGV[6], at)
  if value then
    local bar = find(value, '|', 1, true)
    since, before = sub(value, 1, bar - 1) + 0, sub(value, bar + 1) + 0
  end
  if units > 0 then
    if value and since > now then return refused end
    local owed = value and before - (now - since) * units or 0
    bases[i], instants[i] = math.max(owed, units * ARGV[5]), now
    fits = (room - bases[i]) / 2 / need
  else
    local starts_at, ends_at
    starts_at, ends_at, at = read('<dd', ARGV[6], at)
    if since ~= starts_at or now < starts_at * 1000 or now >= ends_at * 1000 then return refused end
    local left = room - before
    bases[i], instants[i], is_quota[i] = before, since, true
    fits = left * 10 < room and 0 or left / 10 / need
  end
  needs[i] = need
  granted = math.min(granted, floor(fits))
end
if granted < 1 then return refused end
if claims == 0 then return {1, now, granted, 0} end

local reply, entry = {1, now, granted}, {ARGV[3], format('%d', now + ARGV[5])}
local seq = (stored[3] or 0) + 1
local writes = {'t', format('%d', now), 's', format('%d', seq)}
for i = 1, claims do
  local field, taken = ARGV[6 + i], granted * needs[i]
  reply[3 + i] = bases[i] + taken
  writes[#writes + 1], writes[#writes + 2] = field, format('%d|%d', instants[i], reply[3 + i])
  if is_quota[i] then entry[#entry + 1] = format('%s=%d', field, taken) end
end
if #entry > 2 then
  local kept, old = {}, 0
  for other, over in string.gmatch(stored[5] or '', '(%S+ (%d+)[^;]*;)') do
    if over + GRACE_MS > now then
      kept[#kept + 1] = other
      if over + SOON_MS <= now then old = old + 1 end
    end
  end
  kept[#kept + 1] = table.concat(entry, ' ') .. ';'
  writes[#writes + 1], writes[#writes + 2] = 'l', table.concat(kept, '', math.max(1, old - MOST + 1))
end
call('HSET', KEYS[1], unpack(writes))
reply[4 + claims] = seq
return reply
