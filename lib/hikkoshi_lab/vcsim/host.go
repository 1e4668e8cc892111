package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	mostNICs    = 10
	vmdkMagic   = "KDMV"
	vmdkHeader  = 20   // bytes of it that say the capacity: magic, version, flags, sectors
	staticLast  = 0x3f // fourth byte of the last static address in VMware's own range, 00:50:56
	sectorBytes = 512
	powerOn     = "VirtualMachine.Interact.PowerOn"
)

// host is what the simulator is not: it keeps the disks that are sent to it, in the datastore, where whoever runs the machines
// finds them, and it refuses what ESXi refuses.
type host struct {
	registry *simulator.Registry
	timeout  time.Duration   // after which a lease without a sign of life is over
	without  map[string]bool // privileges that the user does not have

	mu     sync.Mutex
	leases map[string]*openLease // by the lease's own name
}

type openLease struct {
	object *mo.HttpNfcLease
	timer  *time.Timer
	over   bool
}

// newHost takes its place in front of a simulator that has not been started yet.
func newHost(service *simulator.Service, registry *simulator.Registry, timeout time.Duration, without string) *host {
	h := &host{registry: registry, timeout: timeout, without: map[string]bool{}, leases: map[string]*openLease{}}
	for _, privilege := range strings.Split(without, ",") {
		h.without[privilege] = true
	}
	for _, manager := range registry.AllReference("AuthorizationManager") {
		registry.Put(&privileges{manager.(*simulator.AuthorizationManager), h.without})
	}
	registry.AddHandler(h)
	registry.Handler = h.handle
	if service.ServeMux == nil {
		service.ServeMux = http.NewServeMux()
	}
	service.ServeMux.HandleFunc("POST /nfc/{lease}/{file}", h.upload)
	service.ServeMux.HandleFunc("PUT /nfc/{lease}/{file}", h.upload)
	return h
}

// Reference is its name among those who are told of changes.
func (h *host) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Host", Value: "of-the-lab"}
}

// PutObject is not used.
func (h *host) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject is not used.
func (h *host) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// UpdateObject hears of a lease that is ready, and has it end when nobody says for too long that it is still needed.
func (h *host) UpdateObject(_ *simulator.Context, changed mo.Reference, _ []types.PropertyChange) {
	object, isLease := changed.(*mo.HttpNfcLease)
	if !isLease || object.State != types.HttpNfcLeaseStateReady || object.Info == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.leases[object.Self.Value]; known {
		return
	}
	object.Info.LeaseTimeout = int32(h.timeout.Seconds())
	lease := &openLease{object: object}
	lease.timer = time.AfterFunc(h.timeout, func() { h.expire(lease) })
	h.leases[object.Self.Value] = lease
}

// expire ends a lease as ESXi does: it is in error, and the machine that it was for is gone.
func (h *host) expire(lease *openLease) {
	h.mu.Lock()
	lease.over = true
	h.mu.Unlock()
	ctx := h.context()
	fault := &types.LocalizedMethodFault{Fault: &types.Timedout{}, LocalizedMessage: "Lease timed out"}
	ctx.Map.WithLock(ctx, lease.object.Self, func() {
		ctx.Update(lease.object, []types.PropertyChange{
			{Name: "state", Val: types.HttpNfcLeaseStateError}, {Name: "error", Val: fault},
		})
	})
	if vm, there := h.registry.Get(lease.object.Info.Entity).(*simulator.VirtualMachine); there {
		vm.DestroyTask(ctx, &types.Destroy_Task{This: vm.Self})
	}
}

func (h *host) context() *simulator.Context {
	ctx := simulator.NewContext()
	ctx.Map = h.registry
	return ctx
}

// handle looks at every call before the simulator does.
func (h *host) handle(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	switch request := method.Body.(type) {
	case *types.ImportVApp:
		if spec, ok := request.Spec.(*types.VirtualMachineImportSpec); ok {
			return nil, refused(&spec.ConfigSpec, nil)
		}
	case *types.CreateVM_Task:
		return nil, refused(&request.Config, nil)
	case *types.ReconfigVM_Task:
		if vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine); ok {
			return nil, refused(&request.Spec, vm.Config.Hardware.Device)
		}
	case *types.PowerOnVM_Task:
		if h.without[powerOn] {
			return nil, &types.NoPermission{Object: &method.This, PrivilegeId: powerOn}
		}
		return nil, h.underLease(method.This)
	case *types.Destroy_Task:
		return nil, h.underLease(method.This)
	case *types.HttpNfcLeaseProgress:
		return nil, h.stillNeeded(method.This)
	case *types.HttpNfcLeaseComplete, *types.HttpNfcLeaseAbort:
		h.close(method.This)
	}
	return nil, nil
}

// underLease refuses what nobody may do to a machine whose disks are still on their way.
func (h *host) underLease(machine types.ManagedObjectReference) types.BaseMethodFault {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, lease := range h.leases {
		if lease.object.Info.Entity == machine && !lease.over {
			return &types.InvalidState{}
		}
	}
	return nil
}

func (h *host) stillNeeded(ref types.ManagedObjectReference) types.BaseMethodFault {
	h.mu.Lock()
	defer h.mu.Unlock()
	lease, known := h.leases[ref.Value]
	if known && lease.over {
		return &types.Timedout{}
	}
	if known {
		lease.timer.Reset(h.timeout)
	}
	return nil
}

func (h *host) close(ref types.ManagedObjectReference) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lease, known := h.leases[ref.Value]; known && lease.timer.Stop() {
		delete(h.leases, ref.Value)
	}
}

// refused is what ESXi says to a machine that it cannot have; devices are those that there are already.
func refused(spec *types.VirtualMachineConfigSpec, devices []types.BaseVirtualDevice) types.BaseMethodFault {
	if spec.MemoryMB%4 != 0 {
		return &types.InvalidArgument{InvalidProperty: "configSpec.memoryMB"}
	}
	nics := len(object.VirtualDeviceList(devices).SelectByType((*types.VirtualEthernetCard)(nil)))
	for n, change := range spec.DeviceChange {
		asked := change.GetVirtualDeviceConfigSpec()
		card, isNIC := asked.Device.(types.BaseVirtualEthernetCard)
		if !isNIC {
			continue
		}
		switch asked.Operation {
		case types.VirtualDeviceConfigSpecOperationAdd:
			nics++
		case types.VirtualDeviceConfigSpecOperationRemove:
			nics--
			continue
		}
		wrong := invalidDevice(n, "macAddress")
		nic := card.GetVirtualEthernetCard()
		if nic.AddressType == string(types.VirtualEthernetCardMacTypeManual) && !allowed(nic.MacAddress) {
			return &wrong
		}
	}
	if nics > mostNICs {
		return &types.TooManyDevices{InvalidVmConfig: types.InvalidVmConfig{Property: "deviceChange"}}
	}
	return nil
}

func invalidDevice(index int, property string) types.InvalidDeviceSpec {
	config := types.InvalidVmConfig{Property: "virtualDeviceSpec." + property}
	return types.InvalidDeviceSpec{InvalidVmConfig: config, DeviceIndex: int32(index)}
}

// allowed says whether a MAC may be given by hand: it is no group's, and none that vCenter or a host gives by itself.
func allowed(mac string) bool {
	address, err := net.ParseMAC(mac)
	if err != nil || len(address) != 6 || address[0]&1 != 0 {
		return false
	}
	text := strings.ToLower(mac)
	return !strings.HasPrefix(text, "00:0c:29") && !(strings.HasPrefix(text, "00:50:56") && address[3] > staticLast)
}

// privileges answers for a user who does not have all of them.
type privileges struct {
	*simulator.AuthorizationManager
	without map[string]bool
}

// HasPrivilegeOnEntities says the same of each object.
func (p *privileges) HasPrivilegeOnEntities(request *types.HasPrivilegeOnEntities) soap.HasFault {
	answer := p.AuthorizationManager.HasPrivilegeOnEntities(request)
	for _, entity := range answer.(*methods.HasPrivilegeOnEntitiesBody).Res.Returnval {
		for n, told := range entity.PrivAvailability {
			entity.PrivAvailability[n].IsGranted = !p.without[told.PrivId]
		}
	}
	return answer
}

// upload keeps a disk that comes in: whole, under the name that its machine has for it, or not at all.
func (h *host) upload(w http.ResponseWriter, r *http.Request) {
	place, capacity, err := h.place(r.PathValue("lease"), r.PathValue("file"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	part, err := os.Create(place + ".part")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	defer os.Remove(part.Name())
	defer part.Close()
	from := r.Body
	answer := &answered{ResponseWriter: w, status: http.StatusOK}
	r.Body = &kept{Reader: io.TeeReader(from, part), Closer: from, capacity: capacity}
	simulator.ServeNFC(answer, r)
	if answer.status == http.StatusOK {
		os.Rename(part.Name(), place)
	}
}

// place says where the machine of a lease has this file, and how large the disk in it is.
func (h *host) place(name, file string) (string, int64, error) {
	h.mu.Lock()
	lease, known := h.leases[name]
	over := known && lease.over
	h.mu.Unlock()
	if !known || over {
		return "", 0, fmt.Errorf("no lease %s", name)
	}
	vm, there := h.registry.Get(lease.object.Info.Entity).(*simulator.VirtualMachine)
	if !there {
		return "", 0, fmt.Errorf("no machine for lease %s", name)
	}
	for _, device := range vm.Config.Hardware.Device {
		disk, isDisk := device.(*types.VirtualDisk)
		if !isDisk {
			continue
		}
		backing := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo()
		var where object.DatastorePath
		where.FromString(backing.FileName)
		if filepath.Base(where.Path) == file {
			store := h.registry.Get(*backing.Datastore).(*simulator.Datastore)
			return filepath.Join(store.Summary.Url, where.Path), disk.CapacityInBytes, nil
		}
	}
	return "", 0, fmt.Errorf("no disk %s for lease %s", file, name)
}

// kept is a disk on its way: an error where it is another one than its machine has.
type kept struct {
	io.Reader
	io.Closer
	capacity int64
	head     []byte
}

func (k *kept) Read(into []byte) (int, error) {
	n, err := k.Reader.Read(into)
	if missing := vmdkHeader - len(k.head); missing > 0 {
		k.head = append(k.head, into[:min(n, missing)]...)
		if len(k.head) == vmdkHeader && string(k.head[:4]) == vmdkMagic {
			if has := int64(binary.LittleEndian.Uint64(k.head[12:])) * sectorBytes; has != k.capacity {
				return 0, fmt.Errorf("the disk has %d bytes, its machine wants %d", has, k.capacity)
			}
		}
	}
	return n, err
}

type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}
