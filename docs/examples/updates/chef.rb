# A recipe: Caddy's settings for updates. Attributes: node['caddy']['updates'] is the scope; node['caddy']['managed'] is true where Chef brings
# the executable, and Caddy only tells.
scope = node.read('caddy', 'updates') || 'critical'
managed = node.read('caddy', 'managed') || false

# The Caddyfile's global options have: import updates.caddyfile
file '/etc/caddy/updates.caddyfile' do
  content "updates #{scope}\n"
  mode '0644'
  notifies :run, 'execute[reload caddy]'
end

file '/etc/caddy/evergreen.managed' do
  action managed ? :create : :delete
  mode '0644'
  notifies :run, 'execute[reload caddy]'
end

# For a server whose unit has no Restart=.
directory '/etc/systemd/system/caddy.service.d'

file '/etc/systemd/system/caddy.service.d/evergreen.conf' do
  content <<~UNIT
    [Service]
    Restart=on-failure
    RestartSec=1
  UNIT
  notifies :run, 'execute[systemctl daemon-reload]'
end

execute 'systemctl daemon-reload' do
  action :nothing
end

# Takes effect at once, without a restart.
execute 'reload caddy' do
  command 'caddy reload --config /etc/caddy/Caddyfile --force'
  action :nothing
end
