-- refund.lua: give back what one receipt charged, once.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has been given back
-- ARGV[1] seconds the marker is kept
-- then four per part of the receipt:
--   'r' field cost window_ms     a rate:  its debt shrinks by cost * window_ms, to 0 at least
--   'q' field cost starts_at     a quota: its count shrinks by cost, to 0 at least, if its window
--                                is still the one that was charged
--
-- Returns the units given back, summed over all limits; 0 for a receipt seen before and for an
-- account that is not here (its marker is not set then: nothing was done).
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
local format, find, sub = string.format, string.find, string.sub
local count = (#ARGV - 1) / 4
local names = {'v', 's'}
for i = 1, count do names[2 + i] = ARGV[4 * i - 1] end
local stored = redis.call('HMGET', KEYS[1], unpack(names))
if not stored[1] then return 0 end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return 0 end

local given, writes = 0, {'s', format('%.0f', tonumber(stored[2] or 0) + 1)}
for i = 1, count do
  local at, value = 4 * i - 2, stored[2 + i]
  if value then
    local bar = find(value, '|', 1, true)
    local first, amount = sub(value, 1, bar - 1), tonumber(sub(value, bar + 1))
    local scale = 1
    if ARGV[at] == 'r' then scale = tonumber(ARGV[at + 3]) end
    if ARGV[at] == 'r' or tonumber(first) == tonumber(ARGV[at + 3]) then
      local back = math.min(amount, tonumber(ARGV[at + 2]) * scale)
      if back > 0 then
        given = given + (back - math.fmod(back, scale)) / scale
        writes[#writes + 1] = ARGV[at + 1]
        writes[#writes + 1] = first .. '|' .. format('%.0f', amount - back)
      end
    end
  end
end
if #writes > 2 then redis.call('HSET', KEYS[1], unpack(writes)) end
return given
