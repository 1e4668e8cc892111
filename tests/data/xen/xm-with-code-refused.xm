import os, re
arch = os.uname()[4]
if re.search('64', arch):
    arch_libdir = 'lib64'
else:
    arch_libdir = 'lib'
name = "windows"
builder = 'hvm'
memory = 512
kernel = "/usr/lib/xen/boot/hvmloader"
device_model = '/usr/' + arch_libdir + '/xen/bin/qemu-dm'
disk = [ 'file:%s,hda,w' % os.environ['IMAGE'] ]
vif = [ 'bridge=%s' % b for b in ('xenbr0', 'xenbr1') ]
os.system('touch /tmp/configuration-was-executed')
