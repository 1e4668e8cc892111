name = "gateway"
uuid = "5c1f3f2e-8d0b-6a3e-3b6d-0f4f6f1b9c11"
maxmem = 640
memory = 640
vcpus = 1
bootloader = "/usr/bin/pygrub"
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "restart"
vfb = [ "type=vnc,vncunused=1,keymap=ja" ]
disk = [ "tap:aio:/var/lib/xen/images/gateway.img,xvda,w" ]
vif = [ "mac=00:16:3e:05:00:00,bridge=xenbr301", "mac=00:16:3e:05:00:01,bridge=xenbr302", "mac=00:16:3e:05:00:02,bridge=xenbr303" ]
